"""Many fits in one process and in many: the same bits, no hang, nothing left behind."""
