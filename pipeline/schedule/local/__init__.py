"""`ratewright repro`: the stages that changed, as many at once as this machine has room for."""
