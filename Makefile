# mini: everything is built under $(B); `make help` lists what there is.
# SAN=address|undefined|thread builds into a folder of its own.

SAN ?=
ifeq ($(origin CC),default)
CC := gcc
endif
BASE := build
B := $(BASE)$(if $(SAN),/san-$(SAN))
# V=1 shows the commands.
V ?=
Q = $(if $(V),,@printf '  %s\n' "$(if $(filter %.o,$@),CC,LD) $@";)
PREFIX ?= /usr/local
DESTDIR ?=

VERSION := 0.1.0
GIT_COMMIT := $(shell git rev-parse HEAD 2>/dev/null || echo unknown)

OPT ?= $(if $(SAN),-O1,-O2)
WARN := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
	-Wwrite-strings -Wvla -Werror
# What a sanitizer puts in between hides from gcc what it would know of lengths and values.
WARN += $(if $(SAN),-Wno-format-truncation -Wno-maybe-uninitialized -Wno-unknown-warning-option)
CPPFLAGS := -I. -I$(B)/gen -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64
CFLAGS := -std=gnu17 $(OPT) -g -fno-omit-frame-pointer -ffunction-sections -fdata-sections -fstack-protector-strong \
	-fno-strict-aliasing $(WARN) $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all,-D_FORTIFY_SOURCE=2)
LDFLAGS := -Wl,--gc-sections -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN))

LLHTTP := /usr/share/llhttp
LLHTTP_INC := /usr/share/include/llhttp

# Folders, lowest floor first; one archive each.
FOLDERS := lib/core lib/net lib/api lib/api/kinds lib/client raft store apiserver controllers scheduler \
	nodeagent nodeagent/image nodeagent/network proxy
SRC_OF = $(sort $(wildcard $(1)/*.c))
OBJ_OF = $(patsubst %.c,$(B)/%.o,$(call SRC_OF,$(1)))
ARCHIVE = $(B)/$(subst /,-,$(1)).a
ALL_FOLDERS := $(FOLDERS) runtime cli cli/minictl

LLHTTP_OBJ := $(patsubst %,$(B)/llhttp/%.o,api http llhttp)
ARCHIVES := $(foreach f,$(FOLDERS),$(call ARCHIVE,$(f))) $(B)/llhttp.a

# Everything but libc is linked in statically (not with sanitizers, which want shared libraries).
STATIC = $(if $(SAN),,-Wl,-Bstatic)
DYNAMIC = $(if $(SAN),,-Wl,-Bdynamic)
UV := $(if $(SAN),-luv,-luv_a)
LIBS_LIB := $(STATIC) $(UV) -lmbedtls -lmbedx509 -lmbedcrypto -lyaml -ljansson -lz
LIBS_MINID := $(LIBS_LIB) -lsqlite3 -larchive -lzstd -lz $(DYNAMIC) -lm -lpthread -ldl
LIBS_MINICTL := $(LIBS_LIB) $(DYNAMIC) -lm -lpthread -ldl
LIBS_MINIRUN := -lseccomp -lcap -ljansson

.PHONY: all help deps deps-test demo demo-stop test unit bench lint check-format format layers install clean fuzz fuzz-build unit-build
all: $(B)/minid $(B)/minictl $(B)/minirun $(B)/pause

help:
	@sed -n 's/^## //p' Makefile tests/sim/sim.mk tests/cluster/cluster.mk tests/bench/store/store.mk

## make              build minid, minictl and minirun under build/
## make demo         a whole cluster on this host, with a small web service in it (as root)
## make demo-stop    end it; nothing is left behind
## make test         install what tests need, build, run them all (as root)
## make bench        the figures, measured here, beside their targets (BENCH_OUT=docs/BENCH.md)
## make SAN=address  (or undefined, thread) builds, also for `make test`
## make fuzz         every fuzz target for a minute
## make lint check-format layers   static checks
## make install PREFIX=/usr/local DESTDIR=
deps:
	@tools/deps.sh build
deps-test:
	@tools/deps.sh test

# ---- objects ----
$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<
$(B)/lib/net/%.o: CPPFLAGS += -I$(LLHTTP_INC)
$(B)/tests/%.o: CPPFLAGS += -I$(LLHTTP_INC)
$(B)/llhttp/%.o: $(LLHTTP)/%.c
	@mkdir -p $(@D)
	$(Q)$(CC) -I$(LLHTTP_INC) -O2 -g -ffunction-sections -w -c -o $@ $<

$(B)/gen/version.h: Makefile $(wildcard .git/HEAD .git/logs/HEAD)
	@mkdir -p $(@D)
	@printf '#define MINI_VERSION "%s"\n#define MINI_COMMIT "%s"\n' '$(VERSION)' '$(GIT_COMMIT)' > $@.tmp
	@cmp -s $@.tmp $@ || mv $@.tmp $@; rm -f $@.tmp; touch $@
$(B)/cli/minid.o $(B)/store/snapshot_copy.o $(B)/cli/minictl/main.o $(B)/cli/minictl/version.o $(B)/apiserver/version.o $(B)/nodeagent/node.o: $(B)/gen/version.h

define FOLDER_RULE
$(call ARCHIVE,$(1)): $(call OBJ_OF,$(1))
	@rm -f $$@
	@mkdir -p $$(@D)
	@$(AR) rcs $$@ $$^
endef
$(foreach f,$(FOLDERS) runtime,$(eval $(call FOLDER_RULE,$(f))))
# For tests: minictl without its main().
$(call ARCHIVE,cli/minictl): $(filter-out %/main.o,$(call OBJ_OF,cli/minictl))
	@rm -f $@
	@$(AR) rcs $@ $^
# And minid without its own.
$(call ARCHIVE,cli): $(filter-out %/minid.o,$(call OBJ_OF,cli))
	@rm -f $@
	@$(AR) rcs $@ $^
$(B)/llhttp.a: $(LLHTTP_OBJ)
	@rm -f $@
	@$(AR) rcs $@ $^

# ---- programs ----
GROUP = -Wl,--start-group $(1) -Wl,--end-group
LIB_ARCHIVES := $(foreach f,lib/core lib/net lib/api lib/api/kinds lib/client,$(call ARCHIVE,$(f))) $(B)/llhttp.a

$(B)/minid: $(call OBJ_OF,cli) $(ARCHIVES)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(call OBJ_OF,cli) $(call GROUP,$(ARCHIVES)) $(LIBS_MINID)
$(B)/minictl: $(call OBJ_OF,cli/minictl) $(LIB_ARCHIVES)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $(call OBJ_OF,cli/minictl) $(call GROUP,$(LIB_ARCHIVES)) $(LIBS_MINICTL)
# Its first instructions are runtime/start.c's.
MINIRUN_START := $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),-e minirun_start)
$(B)/minirun: $(call ARCHIVE,runtime) $(call ARCHIVE,lib/core)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) $(if $(SAN),,-static $(MINIRUN_START)) -o $@ $(call GROUP,$^) $(LIBS_MINIRUN)
# PID 1 of a sandbox: freestanding enough to be one page of memory.
$(B)/pause: runtime/pause/pause.c
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -Os -Wall -Wextra -Werror -static -s -o $@ $<

# ---- unit tests: tests/<path>/x_test.c is one cmocka program ----
TEST_SRC := $(sort $(shell find tests -name '*_test.c' 2>/dev/null))
TEST_BIN := $(patsubst %.c,$(B)/%,$(TEST_SRC))
# What a test may link: the folder it mirrors and what that may include (DESIGN's table), plus tests/support/<that>.
LIB_ALL := lib/core lib/net lib/api lib/api/kinds lib/client
USES_lib/core := lib/core
USES_lib/net := lib/core lib/net
USES_lib/api := lib/core lib/api lib/api/kinds
USES_lib/client := $(LIB_ALL)
USES_raft := raft
USES_runtime := runtime lib/core
USES_store := store raft lib/core lib/net
USES_apiserver := apiserver store raft $(LIB_ALL)
USES_controllers := controllers $(LIB_ALL)
USES_scheduler := scheduler $(LIB_ALL)
USES_nodeagent := nodeagent nodeagent/image nodeagent/network $(LIB_ALL)
USES_proxy := proxy $(LIB_ALL)
USES_cli := cli/minictl cli $(FOLDERS)
USES_sim := $(FOLDERS)
# tests/lib/api/kinds/pod_test.c -> lib/api; tests/store/mvcc_test.c -> store
UNIT_OF = $(if $(filter tests/lib/%,$(1)),lib/$(word 3,$(subst /, ,$(1))),$(word 2,$(subst /, ,$(1))))
define TEST_RULE
$(B)/$(1:.c=): $(B)/$(1:.c=.o) $(patsubst %.c,$(B)/%.o,$(wildcard tests/support/$(call UNIT_OF,$(1))/*.c) $(if $(filter lib/client controllers scheduler nodeagent proxy,$(call UNIT_OF,$(1))),$(wildcard tests/support/*.c))) \
		$(foreach f,$(USES_$(call UNIT_OF,$(1))),$(call ARCHIVE,$(f))) $(B)/llhttp.a
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$(filter %.o,$$^) $$(call GROUP,$$(filter %.a,$$^)) \
		$(if $(filter runtime,$(call UNIT_OF,$(1))),-lseccomp -lcap -ljansson,$$(LIBS_MINID)) -lcmocka
endef
$(foreach t,$(TEST_SRC),$(eval $(call TEST_RULE,$(t))))
.SECONDARY:
unit-build: $(TEST_BIN)
unit: unit-build
	@B=$(B) tests/run.sh $(TEST_BIN)
## make unit         only the unit tests
test: deps deps-test
	@$(MAKE) --no-print-directory all unit-build
	@B=$(B) tests/run.sh --all $(TEST_BIN)

# ---- benchmarks: tests/bench/x_bench.c, one program each ----
BENCH_BIN := $(patsubst %.c,$(B)/%,$(sort $(wildcard tests/bench/*_bench.c)))
$(B)/tests/bench/%_bench: $(B)/tests/bench/%_bench.o $(ARCHIVES)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(call GROUP,$(ARCHIVES)) $(LIBS_MINID)

# ---- fuzz targets: tests/fuzz/x_fuzz.c, everything built anew by clang with its sanitizers ----
FUZZ_CC := clang
FUZZ_FLAGS := -fsanitize=address,undefined -fno-sanitize-recover=all
FUZZ_FOLDERS := lib/core lib/net lib/api lib/api/kinds lib/client nodeagent/image raft store
FUZZ_BIN := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(sort $(wildcard tests/fuzz/*_fuzz.c)))
FUZZ_OBJ := $(foreach f,$(FUZZ_FOLDERS),$(patsubst %.c,$(B)/fuzz/obj/%.o,$(call SRC_OF,$(f)))) \
	$(patsubst %,$(B)/fuzz/obj/llhttp/%.o,api http llhttp) $(B)/fuzz/obj/nodeagent/cri_log.o
$(B)/fuzz/obj/llhttp/%.o: $(LLHTTP)/%.c
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) -I$(LLHTTP_INC) -O1 -g -w $(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -c -o $@ $<
$(B)/fuzz/obj/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(FUZZ_CC) $(CPPFLAGS) -I$(LLHTTP_INC) -std=gnu17 -O1 -g -fno-omit-frame-pointer -fno-strict-aliasing $(WARN) \
		$(FUZZ_FLAGS) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<
$(B)/fuzz/obj/store/snapshot_copy.o: $(B)/gen/version.h
$(B)/fuzz/all.a: $(FUZZ_OBJ)
	@rm -f $@
	@$(AR) rcs $@ $^
$(B)/fuzz/%: $(B)/fuzz/obj/tests/fuzz/%.o $(B)/fuzz/all.a
	$(Q)$(FUZZ_CC) $(FUZZ_FLAGS) -fsanitize=fuzzer -o $@ $^ -luv -lmbedtls -lmbedx509 -lmbedcrypto -lyaml -ljansson \
		-larchive -lsqlite3 -lz -lm -lpthread
fuzz-build: $(FUZZ_BIN)

-include tests/sim/sim.mk
-include tests/bench/store/store.mk
-include tests/cluster/cluster.mk

# ---- checks ----
SOURCES := $(shell git ls-files -co --exclude-standard '*.c' '*.h' 2>/dev/null)
layers:
	@tools/layers.py
check-format:
	@clang-format --dry-run -Werror $(SOURCES) && echo "format: ok, $(words $(SOURCES)) files"
format:
	@clang-format -i $(SOURCES)
lint: $(B)/gen/version.h
	@B=$(B) tools/lint.sh $(filter %.c,$(SOURCES))
fuzz: fuzz-build
	@B=$(B) tests/fuzz/run.sh
bench: all $(BENCH_BIN)
	@B=$(B) BENCH_OUT=$(BENCH_OUT) tests/bench/run.sh
demo: deps
	@$(MAKE) --no-print-directory -j2 all
	@tools/demo.sh start
demo-stop:
	@tools/demo.sh stop
install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/libexec/mini
	install -m 755 $(B)/minid $(B)/minictl $(B)/minirun $(DESTDIR)$(PREFIX)/bin
	install -m 755 $(B)/pause $(DESTDIR)$(PREFIX)/libexec/mini/pause
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 644 $(wildcard docs/man/*.8) $(DESTDIR)$(PREFIX)/share/man/man8
	$(if $(wildcard docs/man/*.1),install -m 644 $(wildcard docs/man/*.1) $(DESTDIR)$(PREFIX)/share/man/man1)
clean:
	rm -rf $(BASE)

-include $(shell find $(B) -name '*.d' 2>/dev/null)
