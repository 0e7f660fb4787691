"""What a run will cost, in memory and time, before anything runs: integers only."""
