"""Checks of a set-up: what one finds, and how many run side by side. It knows no outside system."""

from app.diagnosis.checks import Check, Checked, run_checks
from app.diagnosis.finding import CheckFinding, failed, fine, skipped, warning

__all__ = ["Check", "CheckFinding", "Checked", "failed", "fine", "run_checks", "skipped", "warning"]
