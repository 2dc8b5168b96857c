"""Who does the work of a job: Beam's runners, and processes on this machine."""
