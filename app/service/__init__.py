"""What the product does: vend, refresh, purge and reload. The only place where order matters."""
