"""What the report stage hands over, part by part: stored results to the tables and samples of a report."""
