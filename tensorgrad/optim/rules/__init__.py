"""The update rules: `descent` along the gradient, `scale` by its squares, `adam` by both.

A rule is the update on paper: a pure function of a parameter `p`, its gradient `g`, the state that
it returned last time (`()` at first) and settings, to the new parameter and state. It is written
for real numbers; nothing in it depends on what the arrays hold.
"""
