"""What is kept: the database of runs, and the folders that attempts share with it."""
