# Outrigger. `make help` lists the targets.
#
#   SANITIZE=address|thread   a debug build with ASan+UBSan or TSan, in its own build directory
#   ORIGIN=http://host:port   what `make run` accelerates (default: the demo site)
#   PREFIX, DESTDIR           where `make install` puts things
#   FUZZ_SECONDS              how long `make fuzz` tries each parser

CC       ?= gcc
PREFIX   ?= /usr/local
SANITIZE ?=
BUILD    := build$(if $(SANITIZE),-$(SANITIZE))
PYTHON   := /usr/bin/python3

SANITIZE_FLAGS := $(if $(filter address,$(SANITIZE)),-fsanitize=address$(comma),)
comma := ,
SANITIZE_FLAGS := $(if $(filter address,$(SANITIZE)),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined)$(if $(filter thread,$(SANITIZE)),-fsanitize=thread)
OPTIMISE := $(if $(SANITIZE),-O1 -fno-omit-frame-pointer,-O2) -g

include third_party/llhttp.mk

PKGS     := libuv libfyaml libcares jansson
CFLAGS   += -std=gnu17 -Wall -Wextra -Werror $(OPTIMISE) $(SANITIZE_FLAGS)
CPPFLAGS += -I. -D_GNU_SOURCE $(LLHTTP_CFLAGS) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDLIBS   += $(LLHTTP_LIBS) $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lpthread
LDFLAGS  += $(SANITIZE_FLAGS)

LIB_SOURCES  := $(filter-out proxy/main.c,$(wildcard base/*.c cache/*.c cache/*/*.c helpers/*.c proxy/*.c proxy/*/*.c))
LIB_OBJECTS  := $(LIB_SOURCES:%.c=$(BUILD)/%.o) $(LLHTTP_OBJECTS)
UNIT_SOURCES := $(wildcard tests/unit/*/test_*.c tests/unit/*/*/test_*.c)
UNIT_TESTS   := $(UNIT_SOURCES:tests/unit/%.c=$(BUILD)/unit/%)

.PHONY: all unit stress fuzz lint clean
all: $(BUILD)/outrigger

$(BUILD)/liboutrigger.a: $(LIB_OBJECTS)
	@rm -f $@
	$(AR) rcs $@ $^

$(BUILD)/outrigger: $(BUILD)/proxy/main.o $(BUILD)/liboutrigger.a
	$(CC) $(LDFLAGS) $^ $(LDLIBS) -o $@

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/unit/%: tests/unit/%.c $(BUILD)/liboutrigger.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MP $(LDFLAGS) $< $(BUILD)/liboutrigger.a $(LDLIBS) -lcriterion -o $@

$(BUILD)/thread/%: tests/thread/%.c $(BUILD)/liboutrigger.a
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(CPPFLAGS) -MMD -MP $(LDFLAGS) $< $(BUILD)/liboutrigger.a $(LDLIBS) -o $@

# The cache under threads: run it with SANITIZE=thread and SANITIZE=address.
stress: $(BUILD)/thread/stress_cache
	$<

unit: $(UNIT_TESTS)
	@set -e; for t in $(UNIT_TESTS); do $$t; done

# Parsers of hostile bytes under libFuzzer (clang). What it finds beyond the seeds is kept in the build directory only.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*.c))
FUZZ_OBJECTS := $(patsubst %.c,build-fuzz/%.o,$(filter base/%.c cache/policy/%.c,$(LIB_SOURCES)))
FUZZ_CC      := clang -std=gnu17 -Wall -Wextra -Werror -O1 -g $(CPPFLAGS) -MMD -MP -fno-sanitize-recover=undefined
build-fuzz/%.o: %.c
	@mkdir -p $(@D)
	$(FUZZ_CC) -fsanitize=fuzzer-no-link,address,undefined -c $< -o $@

build-fuzz/run/%: tests/fuzz/%.c $(FUZZ_OBJECTS)
	@mkdir -p $(@D)
	$(FUZZ_CC) -fsanitize=fuzzer,address,undefined $< $(FUZZ_OBJECTS) -lpthread -o $@

fuzz: $(FUZZ_TARGETS:%=build-fuzz/run/%)
	@set -e; for t in $(FUZZ_TARGETS); do \
	    mkdir -p build-fuzz/corpus/$$t; \
	    build-fuzz/run/$$t -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -timeout=5 -artifact_prefix=build-fuzz/$$t- \
	        build-fuzz/corpus/$$t tests/fuzz/seeds/$$t >build-fuzz/$$t.log 2>&1 || { cat build-fuzz/$$t.log; exit 1; }; \
	    echo "fuzz: $$t: $$(tail -n 1 build-fuzz/$$t.log)"; \
	done

# Files as git knows them, those not yet committed included. clang-tidy counts warnings on stderr even when all is well.
LINT_FILES = $(shell git ls-files --cached --others --exclude-standard)
LINT_C     = $(filter base/%.c cache/%.c helpers/%.c proxy/%.c,$(wildcard $(LINT_FILES)))
lint:
	@mkdir -p $(BUILD)
	$(PYTHON) tests/lint/floors.py
	@$(PYTHON) tests/lint/files.py $(LINT_FILES)
	$(PYTHON) -m pytest -q -p no:cacheprovider tests/lint
	@clang-format --dry-run -Werror $(filter %.c,$(wildcard $(LINT_FILES)))
	@echo $(LINT_C) | xargs -n 2 -P $$(nproc) sh -c 'clang-tidy --quiet "$$@" -- -std=gnu17 $(CPPFLAGS)' tidy 2>$(BUILD)/tidy.err || { grep -v 'warnings* generated' $(BUILD)/tidy.err; false; }

clean:
	rm -rf build build-address build-thread build-fuzz

-include $(shell find $(BUILD) build-fuzz -name '*.d' 2>/dev/null)
