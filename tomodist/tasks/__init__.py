"""What a user asks of a tomogram: a value that gives its steps, and one function that runs them."""
