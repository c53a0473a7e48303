"""The course: checks and style for the notebooks, their building and grading, and a module of exercises for each.

Read `teach`, then `exercises`, then `notebooks`, `gradebook`, `book` and `lite`; `kit`, `exam` and `judge` are for
lecturers.
"""
