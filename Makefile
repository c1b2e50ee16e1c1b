# Outrigger. `make help` lists the targets; `make --trace` shows the commands.

PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
SANITIZE   ?=
ORIGIN     ?=
PYTHON     := /usr/bin/python3
BUILD      := build$(if $(SANITIZE),-$(SANITIZE))
VERSION    := 0.1.0

# ---- compiler ----------------------------------------------------------------------------------------------------------------------------

include third_party/llhttp.mk

SANITIZE_FLAGS.address := -fsanitize=address,undefined -fno-sanitize-recover=undefined
SANITIZE_FLAGS.thread  := -fsanitize=thread
SANITIZE_FLAGS := $(SANITIZE_FLAGS.$(SANITIZE))
SANITIZE_OBJECTS := $(if $(filter thread,$(SANITIZE)),build-thread/tests/thread_suppressions.o)
OPTIMISE := $(if $(SANITIZE),-O1 -fno-omit-frame-pointer,-O2) -g

PKGS       := libuv libfyaml libcares jansson liburing libssl libcrypto libnghttp2 libseccomp
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
CFLAGS   += -std=gnu17 -Wall -Wextra -Werror $(OPTIMISE) $(SANITIZE_FLAGS)
CPPFLAGS += -I. -D_GNU_SOURCE $(LLHTTP_CFLAGS) $(PKG_CFLAGS)
LDLIBS   += $(LLHTTP_LIBS) $(PKG_LIBS) -lpthread -lm
LDFLAGS  += $(SANITIZE_FLAGS)

# ---- what is built -----------------------------------------------------------------------------------------------------------------------

MAINS         := proxy/main.c proxy/admin/ctl_main.c
LIB_SOURCES   := $(filter-out $(MAINS),$(wildcard base/*.c cache/*.c cache/*/*.c helpers/*.c proxy/*.c proxy/*/*.c))
LIB_OBJECTS   := $(LIB_SOURCES:%.c=$(BUILD)/%.o) $(LLHTTP_OBJECTS)
UNIT_TESTS    := $(patsubst tests/%.c,$(BUILD)/%,$(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c))
STRESS_TESTS  := $(patsubst tests/%.c,$(BUILD)/%,$(wildcard tests/thread/*.c))
CACHE_DRIVER  := $(BUILD)/model/cache_driver
BENCH_PROGRAMS := $(addprefix $(BUILD)/bench/,load origin floor)

.PHONY: all
all: $(BUILD)/outrigger $(BUILD)/outriggerctl

$(BUILD)/liboutrigger.a: $(LIB_OBJECTS)
	@echo "  AR $@"
	@rm -f $@
	@$(AR) rcs $@ $^

$(BUILD)/outrigger: $(BUILD)/proxy/main.o $(SANITIZE_OBJECTS) $(BUILD)/liboutrigger.a
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(BUILD)/outriggerctl: $(BUILD)/proxy/admin/ctl_main.o $(SANITIZE_OBJECTS) $(BUILD)/liboutrigger.a
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/unit/%: LDLIBS += -lcriterion
$(UNIT_TESTS) $(STRESS_TESTS) $(CACHE_DRIVER): $(BUILD)/%: tests/%.c $(BUILD)/liboutrigger.a
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MP $(LDFLAGS) $< $(filter %.o,$^) $(BUILD)/liboutrigger.a $(LDLIBS) -o $@

# It is held against the full simulations of the benchmark.
$(BUILD)/unit/cache/test_sizing: $(addprefix $(BUILD)/tests/bench/,eviction_traces.o eviction_policies.o eviction_disk.o)

# Preloaded by tests; without sanitizers, whose run-time library would have to come first.
$(BUILD)/diskfault.so: tests/fault/diskfault.c
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) -std=gnu17 -Wall -Wextra -Werror -O1 -g -D_GNU_SOURCE -fPIC -shared -MMD -MP $< -lpthread -o $@

# Clients and an origin for test_hammer.py: without sanitizers, which would only make it slow.
$(BUILD)/stress/hammer: tests/stress/hammer.c
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) -std=gnu17 -Wall -Wextra -Werror -O2 -g -D_GNU_SOURCE $< -lpthread -o $@

$(BUILD)/proxy/admin/assets.o: $(wildcard proxy/admin/dashboard/*)

# What docs/dashboard.png shows.
.PHONY: dashboard-screenshot
dashboard-screenshot: all
	@DASHBOARD_SCREENSHOT=$(CURDIR)/docs/dashboard.png $(PYTEST) tests/e2e/test_dashboard.py -k screenshot

# What docs/top.svg shows.
.PHONY: top-screenshot
top-screenshot: all
	@TOP_SCREENSHOT=$(CURDIR)/docs/top.svg $(PYTEST) tests/e2e/test_top.py -k screenshot

# What the binary knows of its build; made anew when any of it changes.
FACTS = -DOUTRIGGER_VERSION='"$(VERSION)"' -DOUTRIGGER_PREFIX='"$(PREFIX)"' \
              -DOUTRIGGER_LIBRARIES='"$(foreach p,$(PKGS),$(p) $(shell pkg-config --modversion $(p) 2>/dev/null))"'
$(BUILD)/proxy/boot/version.o: CPPFLAGS += $(FACTS)
$(BUILD)/proxy/boot/version.o: $(BUILD)/facts
$(BUILD)/facts: always
	@mkdir -p $(@D)
	@echo "$(VERSION) $(PREFIX)" | cmp -s - $@ || echo "$(VERSION) $(PREFIX)" > $@
.PHONY: always

# ---- run ---------------------------------------------------------------------------------------------------------------------------------

.PHONY: run
run:
	@packaging/install-packages build
	@$(MAKE) $(QUIETLY) $(JOBS) all
	@packaging/what-to-try $(ORIGIN)
	@exec $(BUILD)/outrigger $(if $(ORIGIN),--origin $(ORIGIN),--demo conf/demo) --listen 127.0.0.1:8080

# ---- tests -------------------------------------------------------------------------------------------------------------------------------
# `unit`, `e2e` and `stress` test one build; `test` all three builds. Under TSan run the tests that threads matter to.

PYTEST := OUTRIGGER=$(CURDIR)/$(BUILD)/outrigger OUTRIGGERCTL=$(CURDIR)/$(BUILD)/outriggerctl SANITIZE=$(SANITIZE) $(PYTHON) -m pytest -q

# Compiling takes every core, testing one after the other.

QUIETLY := --no-print-directory
JOBS    := -j$(shell nproc)

.PHONY: test built unit e2e stress lint
test:
	@packaging/install-packages build test
	@$(MAKE) $(QUIETLY) $(JOBS) built
	@$(MAKE) $(QUIETLY) unit e2e stress
	@$(MAKE) $(QUIETLY) $(JOBS) SANITIZE=address built
	@$(MAKE) $(QUIETLY) SANITIZE=address unit e2e stress
	@$(MAKE) $(QUIETLY) $(JOBS) SANITIZE=thread all $(STRESS_TESTS:$(BUILD)/%=build-thread/%)
	@$(MAKE) $(QUIETLY) SANITIZE=thread e2e stress

built: all $(BUILD)/stress/hammer $(BUILD)/diskfault.so $(UNIT_TESTS) $(STRESS_TESTS) $(CACHE_DRIVER) $(BENCH_PROGRAMS)

unit: $(UNIT_TESTS)
	@set -e; for t in $^; do $$t; done

# Four files at a time beside four others, for a test waits most of its time; from the back, where long ones are. What they say comes when they are done.
# Under TSan none of the four may be marked (5).
E2E_MARKED := $(if $(filter thread,$(SANITIZE)),-m threads)
e2e: all $(BUILD)/stress/hammer $(BUILD)/diskfault.so $(CACHE_DRIVER) $(BENCH_PROGRAMS)
	@cd $(CURDIR); printf '%s\n' tests/e2e/test_*.py | sort -r | xargs -n 4 -P 2 sh -c 'log=$$(mktemp); code=0; \
	    $(PYTEST) $(E2E_MARKED) "$$@" >$$log 2>&1 || code=$$?; cat $$log; rm $$log; \
	    $(if $(E2E_MARKED),[ $$code = 5 ] ||) exit $$code' e2e

# docs/METRICS.md, from what a server shows.
.PHONY: metrics-page
metrics-page: all
	@WRITE_PAGE=1 $(PYTEST) tests/e2e/test_metrics_page.py

# Kills, flipped bits and cuts by the thousand; e2e has some of each. TORTURE_SEED=N is another course of events.
TORTURE_KILLS ?= 1000
TORTURE_FLIPS ?= 100000
.PHONY: torture
torture: all
	@TORTURE_KILLS=$(TORTURE_KILLS) TORTURE_FLIPS=$(TORTURE_FLIPS) $(PYTEST) -s tests/e2e/test_store_crash.py

# Ever other sites and certificates by a reload, ever other binaries, under load: nobody notices, memory stays flat. e2e has a few of each.
RELOADS  ?= 1000
UPGRADES ?= 100
.PHONY: changes
changes: all
	@RELOADS=$(RELOADS) $(PYTEST) -s tests/e2e/test_reload_certificates.py tests/e2e/test_reload.py -k leave_no_memory
	@UPGRADES=$(UPGRADES) $(PYTEST) -s tests/e2e/test_upgrade.py tests/e2e/test_upgrade_memory.py -k "other_binaries or hit_ratio or any_moment"

# Mixed sizes through a small cache, by the million: every byte is right, and memory stays within its limit. e2e has a short run of it.
CHURN_REQUESTS ?= 10000000
.PHONY: churn
churn: all $(BUILD)/stress/hammer
	@HAMMER_REQUESTS=$(CHURN_REQUESTS) $(PYTEST) -s tests/e2e/test_hammer.py

# The cache against a slow and plain model of RFC 9111; e2e has a short run of it.
.PHONY: model
model: $(CACHE_DRIVER)
	@$(PYTHON) tests/model/model.py --driver $(CACHE_DRIVER) --cases $(if $(filter command line environment,$(origin CASES)),$(CASES),100000)

# Clients that are slow on purpose, by the thousand; e2e has fewer of them. As many as there are descriptors.
SLOW_CLIENTS ?= 10000
.PHONY: slow-clients
slow-clients: all
	@SLOW_CLIENTS=$(SLOW_CLIENTS) $(PYTEST) -s tests/e2e/test_slow_clients.py

stress: $(STRESS_TESTS)
	@set -e; for t in $^; do echo $$t; $$t; done

# Parsers of hostile bytes under libFuzzer (clang): FUZZ_SECONDS each, or FUZZ_RUNS. What it finds beyond the seeds is kept in the build directory only.
# Inputs no longer than what reaches every branch: longer ones only take longer. FUZZ_TARGETS: some of them. build-fuzz/runs adds the runs up.
FUZZ_SECONDS ?= 60
FUZZ_RUNS    ?=
FUZZ_FOR     := $(if $(FUZZ_RUNS),-runs=$(FUZZ_RUNS),-max_total_time=$(FUZZ_SECONDS))
FUZZ_MAX_LEN := 400
FUZZ_MAX_LEN.http_date   := 60
FUZZ_MAX_LEN.slice       := 200
FUZZ_MAX_LEN.key_rules   := 200
FUZZ_MAX_LEN.vary        := 300
FUZZ_MAX_LEN.h1_request  := 1600
FUZZ_MAX_LEN.h1_response := 1600
FUZZ_MAX_LEN.h2_session  := 600
FUZZ_TARGETS ?= $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
FUZZ_SOURCES := $(filter base/%.c cache/policy/%.c proxy/client/h1_parse.c proxy/client/h1_target.c proxy/client/proxy_header.c proxy/net/socket_address.c proxy/origin/h1_response.c,$(LIB_SOURCES))
FUZZ_OBJECTS := $(FUZZ_SOURCES:%.c=build-fuzz/%.o) $(LLHTTP_OBJECTS:$(BUILD)/%=build-fuzz/%)
# A session is fuzzed as a whole, between a loop and requests of its target's own.
FUZZ_SESSION := $(patsubst %.c,build-fuzz/%.o,$(wildcard proxy/client/h2*.c) proxy/client/clients.c proxy/observe/counters.c)
FUZZ_CC      := clang -std=gnu17 -Wall -Wextra -Werror -O2 -g $(CPPFLAGS) -MMD -MP -fno-sanitize-recover=undefined
build-fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_CC) -fsanitize=fuzzer-no-link,address,undefined -c $< -o $@

build-fuzz/third_party/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	$(FUZZ_CC) -w -DLLHTTP_STRICT_MODE=1 -fsanitize=fuzzer-no-link,address,undefined -c $< -o $@

build-fuzz/run/%: tests/fuzz/%.c $(FUZZ_OBJECTS)
	@mkdir -p $(@D)
	$(FUZZ_CC) -fsanitize=fuzzer,address,undefined $(filter-out %.h,$^) $(LLHTTP_LIBS) -lnghttp2 -lpthread -o $@

build-fuzz/run/h2_session: $(FUZZ_SESSION)

.SECONDARY: $(FUZZ_OBJECTS) $(FUZZ_SESSION)
.PHONY: fuzz
fuzz: $(FUZZ_TARGETS:%=build-fuzz/run/%)
	@set -e; $(foreach t,$(FUZZ_TARGETS), \
	    mkdir -p build-fuzz/corpus/$t; \
	    build-fuzz/run/$t $(FUZZ_FOR) -max_len=$(or $(FUZZ_MAX_LEN.$t),$(FUZZ_MAX_LEN)) -timeout=5 -artifact_prefix=build-fuzz/$t- \
	        $(addprefix -dict=,$(wildcard tests/fuzz/dictionaries/$t)) \
	        build-fuzz/corpus/$t tests/fuzz/seeds/$t >build-fuzz/$t.log 2>&1 || { cat build-fuzz/$t.log; exit 1; }; \
	    sed -n 's/^Done /$t /p' build-fuzz/$t.log >>build-fuzz/runs; \
	    awk '$$1 == "$t" {runs = $$2; all += $$2} END {printf "fuzz: $t: %.0f runs, %.0f in all, nothing found\n", runs, all}' build-fuzz/runs;)

# Files as git knows them, those not yet committed included. clang-tidy counts warnings on stderr even when all is well.
LINT_FILES = $(wildcard $(shell git ls-files --cached --others --exclude-standard))
LINT_C     = $(filter-out proxy/boot/version.c,$(filter base/%.c cache/%.c helpers/%.c proxy/%.c,$(LINT_FILES)))
lint:
	@packaging/install-packages build test
	@mkdir -p $(BUILD)
	@$(MAKE) $(QUIETLY) $(JOBS) CC=clang BUILD=build-clang all
	$(PYTHON) tests/lint/floors.py
	@$(PYTHON) tests/lint/files.py $(LINT_FILES)
	$(PYTHON) -m pytest -q -p no:cacheprovider tests/lint tests/bench
	@clang-format --dry-run -Werror $(filter %.c,$(LINT_FILES))
	@echo $(LINT_C) | xargs -n 2 -P $$(nproc) sh -c 'clang-tidy --quiet "$$@" -- -std=gnu17 $(CPPFLAGS)' tidy 2>$(BUILD)/tidy.err || \
	    { grep -v 'warnings* generated' $(BUILD)/tidy.err; false; }

# ---- measurements ------------------------------------------------------------------------------------------------------------------------

# The load, the origin and the limit of the measurements: programs of their own, which know nothing of the server.
$(BUILD)/bench/load: $(addprefix $(BUILD)/tests/bench/,load.o load_link.o load_pace.o load_http1.o load_http2.o choice.o histogram.o)
$(BUILD)/bench/load: BENCH_LIBS := -lssl -lcrypto -lnghttp2
$(BUILD)/bench/origin: $(BUILD)/tests/bench/origin.o
$(BUILD)/bench/floor: $(BUILD)/tests/bench/floor.o
$(BUILD)/bench/floor: BENCH_LIBS := -lssl -lcrypto
$(BENCH_PROGRAMS):
	@mkdir -p $(@D)
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) $^ -lm $(BENCH_LIBS) -o $@

# What packages bring is installed before anything of it is compiled.
MEASURE = packaging/install-packages build bench && $(MAKE) $(QUIETLY) $(JOBS) bench-programs && $(PYTHON) tests/bench
.PHONY: bench-programs
bench-programs: all $(BENCH_PROGRAMS) $(BUILD)/bench/under_callgrind.so $(BUILD)/bench/bells.so
	@:

ASIDE := $(if $(QUICK),--quick) $(if $(FIRST),--first)

# Instructions a hit, by function: the figure that a busy machine does not blur. CASES=hit,pipelined,logged,100k,h2,newconn,miss,pass; JSON=FILE.
$(BUILD)/bench/under_callgrind.so $(BUILD)/bench/bells.so: $(BUILD)/bench/%.so: tests/bench/%.c
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) -std=gnu17 -Wall -Wextra -Werror -O1 -g -D_GNU_SOURCE -fPIC -shared $< -o $@

# writev against sendfile from a memory file (docs/HITPATH.md).
$(BUILD)/bench/sendfile: tests/bench/sendfile.c
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) -std=gnu17 -Wall -Wextra -Werror -O2 -g -D_GNU_SOURCE $< -lpthread -o $@

.PHONY: bench-sendfile
bench-sendfile: $(BUILD)/bench/sendfile
	@$(if $(FIRST),chrt --rr 1) $<

.PHONY: bench-instructions
bench-instructions:
	@$(MEASURE)/instructions.py $(if $(filter command line environment,$(origin CASES)),--cases $(CASES)) $(if $(JSON),--json $(JSON))

.PHONY: replay bench bench-diskbound bench-architectures bench-eviction
replay: all
	@$(PYTHON) tests/replay/replay.py --without

# CASES and PEERS: some of them, with commas. QUICK=1 tries everything with little; FIRST=1, as root, where the machine is not idle.
BENCH = $(if $(CASES),--cases $(CASES)) $(if $(PEERS),--peers $(PEERS)) $(ASIDE)
.PHONY: bench-report
bench:
	@$(MEASURE)/bench.py $(BENCH)

bench-report:
	@$(MEASURE)/bench.py $(BENCH) --report

# Both need root, for control groups. REPORT=1 writes docs/STORE.md, docs/ARCHITECTURES.md.
bench-diskbound:
	@$(MEASURE)/diskbound.py $(ASIDE) $(if $(REPORT),--report)

bench-architectures:
	@$(MEASURE)/architectures.py $(if $(CASES),--experiments $(CASES)) $(ASIDE) $(if $(REPORT),--report)

# Of an event loop and its store helper. REPORT=1 writes docs/STORE.md.
.PHONY: bench-diskhits
bench-diskhits:
	@$(MEASURE)/diskhits.py $(if $(FIRST),--first) $(if $(REPORT),--report)

# Hits beside each attack of docs/HTTP2.md; REPORT=1 writes the table there. ATTACKS="rapid reset,PING": some.
.PHONY: bench-attacks
bench-attacks:
	@$(MEASURE)/attacks.py $(if $(ATTACKS),--attacks "$(ATTACKS)") $(ASIDE) $(if $(REPORT),--report)

# Needs root, to drop the page cache. REPORT=1 writes docs/STORE.md.
.PHONY: bench-restart
bench-restart:
	@$(MEASURE)/million.py $(if $(FIRST),--first) $(if $(REPORT),--report)

# From the npm registry, https://cache-tests.fyi. CACHES=outrigger,nginx: some; REPORT=1 writes docs/CACHING.md.
.PHONY: cache-tests
cache-tests: all
	@packaging/install-packages bench
	@$(PYTHON) tests/bench/cache_tests.py $(if $(CACHES),--caches $(CACHES)) $(if $(REPORT),--report)

# DOCUMENT=docs/EVICTION.md puts the tables there.
$(BUILD)/bench/eviction: $(patsubst %.c,$(BUILD)/%.o,$(wildcard tests/bench/eviction*.c)) $(BUILD)/liboutrigger.a
	@mkdir -p $(@D)
	@echo "  LD $@"
	@$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

bench-eviction: $(BUILD)/bench/eviction
	@$< tests/data/epa-http.txt $(DOCUMENT)

# ---- install -----------------------------------------------------------------------------------------------------------------------------

SHARE := $(DESTDIR)$(PREFIX)/share

.PHONY: install clean help
install: all
	install -D -m 755 $(BUILD)/outrigger $(DESTDIR)$(PREFIX)/sbin/outrigger
	install -D -m 755 $(BUILD)/outriggerctl $(DESTDIR)$(PREFIX)/bin/outriggerctl
	install -d $(SHARE)/outrigger/demo $(SHARE)/man/man1 $(SHARE)/man/man5 $(SHARE)/man/man8
	install -m 644 conf/demo/* $(SHARE)/outrigger/demo
	for page in $(wildcard docs/*.[158]); do install -m 644 $$page $(SHARE)/man/man$${page##*.}; done
	test -e $(DESTDIR)$(SYSCONFDIR)/outrigger/outrigger.yaml || \
	    install -D -m 644 conf/outrigger.yaml $(DESTDIR)$(SYSCONFDIR)/outrigger/outrigger.yaml
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's|@PREFIX@|$(PREFIX)|g; s|@SYSCONFDIR@|$(SYSCONFDIR)|g' packaging/outrigger.service.in > \
	    $(DESTDIR)$(PREFIX)/lib/systemd/system/outrigger.service
	install -m 644 packaging/outrigger.socket $(DESTDIR)$(PREFIX)/lib/systemd/system/outrigger.socket
	install -d $(SHARE)/bash-completion/completions
	install -m 644 packaging/completion/* $(SHARE)/bash-completion/completions

# ---- release -----------------------------------------------------------------------------------------------------------------------------
# What git knows of, as it is here; the same bytes for the same files, whoever makes it, wherever and with whatever umask. `make deb` builds from that.

RELEASE := outrigger-$(VERSION)
EPOCH   := $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null),0)

.PHONY: dist deb deb-test
dist:
	@mkdir -p build
	@git ls-files -z | LC_ALL=C tar --null -T - --sort=name --owner=0 --group=0 --numeric-owner --mode=u=rwX,go=rX --mtime=@$(EPOCH) \
	    --format=gnu --transform 's,^,$(RELEASE)/,S' -cf - | gzip -9n > build/$(RELEASE).tar.gz
	@sha256sum build/$(RELEASE).tar.gz

deb: dist
	@packaging/install-packages build package
	@rm -rf build/deb && mkdir -p build/deb
	@tar -C build/deb -xzf build/$(RELEASE).tar.gz
	@cp -r build/deb/$(RELEASE)/packaging/debian build/deb/$(RELEASE)/debian
	@cd build/deb/$(RELEASE) && SOURCE_DATE_EPOCH=$(EPOCH) dpkg-buildpackage -us -uc -b $(JOBS) >../build.log 2>&1 || { tail -n 40 ../build.log; false; }
	@lintian --fail-on error,warning build/deb/*.changes
	@ls build/deb/*.deb

# Needs root: installs the package into a copy of this machine's root, uses, upgrades, removes and purges it there.
deb-test: deb
	@$(PYTHON) -m pytest -q tests/package

clean:
	rm -rf build build-address build-thread build-clang build-fuzz

help:
	@echo "make             build/outrigger and build/outriggerctl"
	@echo "make run         install what is needed, build, serve the demo site on 127.0.0.1:8080;  ORIGIN=http://host:port: that site"
	@echo "make test        install what is needed, build, run every test, under the sanitizers too"
	@echo "make unit e2e stress    one kind of test, on one build"
	@echo "make torture     the disk tier killed and damaged again and again, TORTURE_KILLS=1000 TORTURE_FLIPS=100000 TORTURE_SEED=1"
	@echo "make changes     reloads that change sites and certificates, and binaries that take over, under load, RELOADS=1000 UPGRADES=100"
	@echo "make churn       mixed sizes through a small cache, every byte and the memory checked, CHURN_REQUESTS=10000000"
	@echo "make slow-clients    handshakes, heads, bodies and readers that are slow on purpose, SLOW_CLIENTS=10000 of each"
	@echo "make model       the cache against a model of RFC 9111, CASES=100000 random sequences"
	@echo "make fuzz        the parsers of hostile bytes under libFuzzer, FUZZ_SECONDS or FUZZ_RUNS each;  FUZZ_TARGETS=h2_session: some"
	@echo "make replay      a real server's log through the accelerator, every byte checked, with and without it"
	@echo "make bench       speed beside six peers on this machine; CASES=hit1k,zipf PEERS=nginx,h2o: some; QUICK=1: a little; FIRST=1: where it is not idle"
	@echo "make bench-report    the same, to docs/BENCHMARKS.md"
	@echo "make bench-instructions    instructions a request under callgrind, by function;  CASES=hit,pipelined,logged,100k,h2,newconn,handshake,resumed,miss,pass JSON=FILE"
	@echo "make bench-sendfile    writev against sendfile from a memory file"
	@echo "make bench-diskbound    hits from memory beside a load that a slow disk bounds, against four peers; needs root;  REPORT=1: to docs/STORE.md"
	@echo "make bench-architectures    helpers, one loop, threads and processes side by side, as in the Flash paper; needs root;  CASES=breakdown: some;  REPORT=1: to docs/ARCHITECTURES.md"
	@echo "make bench-diskhits    what a hit from disk costs the loop and its helper, and messages a wake-up;  REPORT=1: to docs/STORE.md"
	@echo "make bench-restart    a restart with a million records on disk: until it listens, until the first hit, memory of the index; needs root;  REPORT=1: to docs/STORE.md"
	@echo "make bench-attacks    hits beside HTTP/2 floods, handshakes and clients that are slow on purpose;  ATTACKS=PING,SETTINGS: some;  REPORT=1: to docs/HTTP2.md"
	@echo "make cache-tests    the public cache tests (npm: http-cache-tests) against this cache and four others;  CACHES=outrigger: some;  REPORT=1: to docs/CACHING.md"
	@echo "make bench-eviction    hit ratios of eviction policies and disk admission;  DOCUMENT=docs/EVICTION.md: put there"
	@echo "make lint        the other compiler's warnings, floors, style, clang-tidy"
	@echo "make install     PREFIX=$(PREFIX) SYSCONFDIR=$(SYSCONFDIR) DESTDIR=$(DESTDIR)"
	@echo "make metrics-page    docs/METRICS.md, from what a server shows"
	@echo "make dist deb    the source archive, the Debian package;  make deb-test: the package installed, used and purged, in a copy of the root and on a clean Debian that boots; the image"
	@echo "make clean"
	@echo "SANITIZE=address|thread with any of them: a debug build with ASan and UBSan, or TSan, in a directory of its own"

-include $(wildcard $(BUILD)/tests/bench/*.d) $(patsubst %.o,%.d,$(LIB_OBJECTS)) $(MAINS:%.c=$(BUILD)/%.d) $(UNIT_TESTS:=.d) $(STRESS_TESTS:=.d) $(BUILD)/diskfault.d $(CACHE_DRIVER).d \
    $(FUZZ_OBJECTS:.o=.d) $(FUZZ_SESSION:.o=.d)
