"""The checks of the course's exercises, one module a notebook; see `minilift.course.teach.check`."""
