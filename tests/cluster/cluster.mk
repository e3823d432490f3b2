# Programs that scripts of this folder use: tests/cluster/x.c, one program each.
CLUSTER_BIN := $(patsubst %.c,$(B)/%,$(sort $(wildcard tests/cluster/*.c)))
$(B)/tests/cluster/%: $(B)/tests/cluster/%.o $(B)/tests/sim/linear.o $(LIB_ARCHIVES)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(call GROUP,$(filter %.a,$^)) $(LIBS_MINICTL)
unit-build: $(CLUSTER_BIN)
.PHONY: kill-cycles nemesis
## make kill-cycles N=1000   three servers, one of them killed N times while clients write: no acknowledged write is lost
kill-cycles: all $(CLUSTER_BIN)
	@B=$(B) tests/cluster/kill_cycles_test.sh $(or $(N),1000)
## make nemesis N=100 SEED=1   the same with faults of all kinds, some two at a time
nemesis: all $(CLUSTER_BIN)
	@B=$(B) SEED=$(or $(SEED),1) tests/cluster/nemesis.sh $(or $(N),100)
