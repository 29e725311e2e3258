"""What is looked at before a task: each is the ``pre_execute`` of some."""
