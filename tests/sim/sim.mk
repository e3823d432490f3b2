# The simulator (docs/SIMULATION.md). One program, the real raft and store in it.
## make sim SEED=n   one life of a store in virtual time, decided by the seed (V=1 tells what happens)
## make sim RUNS=n   n seeds from FROM (default 1) on, two at a time
SIM_SRC := $(filter-out %_test.c,$(sort $(wildcard tests/sim/*.c)))
SIM_OBJ := $(patsubst %.c,$(B)/%.o,$(SIM_SRC))
SIM_BELOW := $(foreach f,raft lib/net lib/core,$(call ARCHIVE,$(f))) $(B)/llhttp.a
SIM := $(B)/tests/sim/sim
.PHONY: sim sim-mutants
$(SIM): $(SIM_OBJ) $(call ARCHIVE,store) $(SIM_BELOW)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(SIM_OBJ) $(call GROUP,$(filter %.a,$^)) $(LIBS_MINID)
# The same with historic bug number N in the store.
$(B)/tests/sim/sim-bug-%: $(SIM_OBJ) $(SIM_BELOW) $(call SRC_OF,store) $(wildcard store/*.h)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) $(LDFLAGS) -DSTORE_BUG=$* -o $@ $(call SRC_OF,store) $(SIM_OBJ) \
		$(call GROUP,$(filter %.a,$^)) $(LIBS_MINID)
unit-build: $(SIM)
sim: $(SIM)
	@$(SIM) $(if $(RUNS),--runs $(RUNS) --from $(or $(FROM),1),--seed $(or $(SEED),1)) $(if $(V),--verbose)
## make sim-mutants  historic bugs, built in one by one: each has to be found within 200 seeds
sim-mutants: $(SIM)
	@B=$(B) tests/sim/mutants
# The checkers have tests of their own.
$(B)/tests/sim/linear_test: $(B)/tests/sim/linear.o
