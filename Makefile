.PHONY: demo test check bench
demo:
	@cargo xtask demo $(if $(KEEP),--keep)
test:
	@cargo xtask test
check:
	@cargo xtask check
bench:
	@cargo xtask bench
