# llhttp: the library where Debian has it, else the generated C that its node-llhttp package ships.
ifneq ($(shell pkg-config --exists libllhttp 2>/dev/null && echo yes),)
LLHTTP_CFLAGS := $(shell pkg-config --cflags libllhttp)
LLHTTP_LIBS := $(shell pkg-config --libs libllhttp)
LLHTTP_OBJECTS :=
else
LLHTTP_CFLAGS := -isystem /usr/share/include/llhttp
LLHTTP_LIBS :=
LLHTTP_OBJECTS := $(patsubst %,$(BUILD)/third_party/llhttp/%.o,api http llhttp)
$(BUILD)/third_party/llhttp/%.o: /usr/share/llhttp/%.c
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(CC) -std=gnu17 $(OPTIMISE) $(SANITIZE_FLAGS) -DLLHTTP_STRICT_MODE=1 $(LLHTTP_CFLAGS) -c $< -o $@
endif
