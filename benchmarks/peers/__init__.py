"""What users would pick instead of this broker, and how it compares."""
