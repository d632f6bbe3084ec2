# SPDX-License-Identifier: Apache-2.0
# Unit tests and fuzzers run on this machine, from this directory, with sanitizers. Each tests/test_*.c is a program that
# returns how many promises are broken; each tests/fuzz_*.c is a libFuzzer target.
FUZZ_TEST_SECONDS ?= 20
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined
TESTS := $(patsubst tests/%.c,%,$(wildcard tests/test_*.c))
FUZZERS := $(patsubst tests/%.c,%,$(wildcard tests/fuzz_*.c))
# The warnings are musl's matter; glibc's headers have other types.
HOST := $(CLANG) $(STRICT) -Wno-sign-conversion -g -O1 -fno-omit-frame-pointer $(SANITIZE)
HOST_OBJECTS := $(patsubst %.c,$(WORK)/host/%.o,$(filter-out main.c,$(SOURCES)))

$(WORK)/host/%.o: %.c Makefile tests/tests.mk
	@mkdir -p $(@D)
	$(HOST) -fsanitize=fuzzer-no-link -MMD -MP -c -o $@ $<

$(WORK)/host/agent.a: $(HOST_OBJECTS)
	rm -f $@
	ar rcs $@ $^

-include $(HOST_OBJECTS:.o=.d)

$(WORK)/test_%: tests/test_%.c $(WORK)/host/agent.a $(wildcard tests/*.h)
	$(HOST) -o $@ $< $(WORK)/host/agent.a

# What a fuzzer defines itself, the agent's own is left out for: it must not reset this machine.
$(WORK)/fuzz_%: tests/fuzz_%.c $(WORK)/host/agent.a $(wildcard tests/*.h)
	$(HOST) -fsanitize=fuzzer -Wl,--allow-multiple-definition -o $@ $< $(WORK)/host/agent.a

.PHONY: test
test: $(TESTS:%=$(WORK)/%.passed) $(FUZZERS:%=$(WORK)/%)
	@for f in $(FUZZERS); do $(MAKE) --no-print-directory fuzz-one FUZZER=$$f FUZZ_SECONDS=$$(($(FUZZ_TEST_SECONDS) / $(words $(FUZZERS)))); done

$(WORK)/test_%.passed: $(WORK)/test_%
	$<
	@touch $@

.PHONY: fuzz
fuzz: $(FUZZERS:%=$(WORK)/%)
	@for f in $(FUZZERS); do $(MAKE) --no-print-directory fuzz-one FUZZER=$$f; done

# The corpus is kept between runs; what broke the agent is kept beside it.
.PHONY: fuzz-one
fuzz-one:
	@mkdir -p $(WORK)/corpus/$(FUZZER)
	@$(WORK)/$(FUZZER) -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1 -artifact_prefix=$(WORK)/$(FUZZER)- \
		$(WORK)/corpus/$(FUZZER) $(wildcard tests/corpus/$(FUZZER)) >$(WORK)/$(FUZZER).log 2>&1 || \
		{ tail -n 60 $(WORK)/$(FUZZER).log; exit 1; }
	@echo "$(FUZZER): $$(sed -n 's/stat::number_of_executed_units: *//p' $(WORK)/$(FUZZER).log) inputs"
