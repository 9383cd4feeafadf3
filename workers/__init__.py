"""Running a pipeline over a plan's items: in this process, or as Ray actors."""
