"""The daemon: schedules, supervises and answers for all runs."""
