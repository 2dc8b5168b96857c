"""What data is: frozen dataclasses, Arrow schemas and the errors that name them."""
