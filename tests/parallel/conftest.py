"""What the processes of these tests run is no test itself."""

collect_ignore = ["same_steps.py", "refusals.py", "one_ends.py", "moves.py", "whole.py"]
