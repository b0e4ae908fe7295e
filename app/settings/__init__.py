"""Every ``BROKER_`` variable: its type, its default, its form and the rules between them."""
