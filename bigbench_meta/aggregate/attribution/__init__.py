"""What accounts for the flags: is it the metric that makes a curve look emergent?"""
