"""`ratewright sweep`: DVC experiments whose stages share the local runner."""
