"""How sure a curve's score is: intervals, exact tests, resolution and power, resampling."""
