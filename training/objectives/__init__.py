"""One file per thing that training can minimise."""
