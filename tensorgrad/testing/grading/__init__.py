"""For teaching: a student's backward pass, graded.

Read `grades.py`, then `lesson.py`, the engine's side, and `run.py`, the student's.
"""

from tensorgrad.testing.grading.grades import Grade, Mistake, grade

__all__ = ["Grade", "Mistake", "grade"]
