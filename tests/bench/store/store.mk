# make bench-store: our store against Debian's etcd (tests/bench/store/run.sh). libnghttp2 is for the bench alone.
## make bench-store  our store beside etcd, on the same disk (QUICK=1: small; BENCH_OUT=docs/BENCH_STORE.md)
.PHONY: bench-store deps-bench
STORE_BENCH := $(B)/tests/bench/store/store_server $(B)/tests/bench/store/store_client
STORE_BENCH_BELOW := $(foreach f,store raft lib/net lib/core,$(call ARCHIVE,$(f))) $(B)/llhttp.a
$(B)/tests/bench/store/store_server: $(B)/tests/bench/store/server.o $(STORE_BENCH_BELOW)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(call GROUP,$(filter %.a,$^)) $(LIBS_MINID)
$(B)/tests/bench/store/store_client: $(patsubst %,$(B)/tests/bench/store/%.o,client link link_mini link_etcd) $(STORE_BENCH_BELOW)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(call GROUP,$(filter %.a,$^)) $(LIBS_MINID) -lnghttp2
deps-bench:
	@tools/deps.sh bench
bench-store: deps-bench
	@$(MAKE) --no-print-directory $(STORE_BENCH) $(B)/tests/bench/api_bench $(B)/tests/bench/compact_bench
	@B=$(B) BENCH_OUT=$(BENCH_OUT) QUICK=$(QUICK) tests/bench/store/run.sh
