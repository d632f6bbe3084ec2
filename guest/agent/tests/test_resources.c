// SPDX-License-Identifier: Apache-2.0
// In directories that have the files of a cgroup; the real ones are in tests/guest.
#include "../resources.h"

#include <fcntl.h>
#include <unistd.h>

#include "../cgroup.h"
#include "../cgroup_tree.h"
#include "expect.h"
#include "scratch.h"

static struct failure why;

static int apply(const char *json)
{
	struct json *v = expect_json(json);
	int fd = open_scratch("cg");

	why = (struct failure){0};
	int result = resources_apply(fd, v, false, &why);
	close(fd);
	json_free(v);
	return result;
}

static void fresh(void)
{
	shell("rm -rf cg; mkdir cg; cd cg; for f in memory.max memory.low memory.swap.max cpu.weight cpu.max.burst cpu.idle "
	      "cpuset.cpus cpuset.mems pids.max io.weight io.max hugetlb.2MB.max memory.high cgroup.procs; do : > $f; done;"
	      "printf '%%-16s' 'max 100000' > cpu.max; echo 4096 > memory.current");
}

// The file's first line; files of a fixture are not cut when they are written.
static void becomes(const char *json, const char *file, const char *value)
{
	fresh();
	if (!EXPECT(apply(json) == 0))
		(void)fprintf(stderr, "%s: %s\n", json, why.message);
	EXPECT_TEXT(answer_of("sed 's/ *$//' cg/%s", file), value);
}

static void refuse(const char *json, const char *code)
{
	fresh();
	if (!EXPECT(apply(json) == -1))
		(void)fprintf(stderr, "taken: %s\n", json);
	EXPECT_TEXT(why.code, code);
}

static void test_limits_become_files(void)
{
	becomes("{'memory':{'limit':33554432}}", "memory.max", "33554432");
	becomes("{'memory':{'limit':-1}}", "memory.max", "max");
	becomes("{'memory':{'limit':100,'swap':150}}", "memory.swap.max", "50");
	becomes("{'memory':{'limit':100,'swap':100}}", "memory.swap.max", "0");
	becomes("{'memory':{'limit':100,'swap':-1}}", "memory.swap.max", "max");
	becomes("{'memory':{'reservation':77}}", "memory.low", "77");
	becomes("{'memory':{'limit':0,'swap':0,'reservation':0,'swappiness':60}}", "memory.max", "");
	becomes("{'cpu':{'shares':1024}}", "cpu.weight", "100");
	becomes("{'cpu':{'shares':0}}", "cpu.weight", "");
	becomes("{'cpu':{'quota':50000,'period':20000}}", "cpu.max", "50000 20000");
	becomes("{'cpu':{'burst':5}}", "cpu.max.burst", "5");
	becomes("{'cpu':{'idle':1}}", "cpu.idle", "1");
	becomes("{'cpu':{'cpus':'0-1,3','mems':'0'}}", "cpuset.cpus", "0-1,3");
	becomes("{'pids':{'limit':20}}", "pids.max", "20");
	becomes("{'pids':{'limit':0}}", "pids.max", "max");
	becomes("{'pids':{'limit':-1}}", "pids.max", "max");
	becomes("{'blockIO':{'weight':10}}", "io.weight", "1");
	becomes("{'blockIO':{'weight':1000}}", "io.weight", "10000");
	becomes("{'blockIO':{'throttleReadBpsDevice':[{'major':254,'minor':16,'rate':1048576}]}}", "io.max",
		"254:16 rbps=1048576");
	becomes("{'blockIO':{'throttleWriteIOPSDevice':[{'major':254,'minor':16,'rate':0}]}}", "io.max", "254:16 wiops=max");
	becomes("{'hugepageLimits':[{'pageSize':'2MB','limit':4194304}]}", "hugetlb.2MB.max", "4194304");
	becomes("{'unified':{'memory.high':'12345'}}", "memory.high", "12345");
	becomes("null", "memory.max", "");
}

static void test_a_quota_alone_keeps_the_period_and_a_period_alone_the_quota(void)
{
	becomes("{'cpu':{'period':50000}}", "cpu.max", "max 500000"); // "max 50000" over "max 100000"
	fresh();
	shell("printf '%%-16s' '70000 100000' > cg/cpu.max");
	EXPECT(apply("{'cpu':{'period':200000}}") == 0);
	EXPECT_TEXT(answer_of("sed 's/ *$//' cg/cpu.max"), "70000 200000");
}

static void test_bad_limits_are_refused(void)
{
	refuse("[]", "invalid");
	refuse("{'memory':5}", "invalid");
	refuse("{'memory':{'limit':'1g'}}", "invalid");
	refuse("{'memory':{'limit':100,'swap':50}}", "invalid");
	refuse("{'memory':{'swap':50}}", "invalid");
	refuse("{'memory':{'limit':4095,'checkBeforeUpdate':true}}", "invalid");
	refuse("{'pids':{'limit':true}}", "invalid");
	refuse("{'blockIO':{'weight':5}}", "invalid");
	refuse("{'hugepageLimits':[{'pageSize':'../../x','limit':1}]}", "invalid");
	refuse("{'hugepageLimits':[{'pageSize':'3MB','limit':1}]}", "unsupported");
	refuse("{'unified':{'../memory.max':'1'}}", "invalid");
	refuse("{'unified':{'cgroup.procs':'1'}}", "invalid");
	refuse("{'unified':{'memory.high':5}}", "invalid");
	refuse("{'unified':{'memory.nonsense':'5'}}", "unsupported");
	refuse("{'devices':{}}", "invalid");
}

static void test_shares_keep_their_order_as_weights(void)
{
	EXPECT(resources_cpu_weight(0) == 1 && resources_cpu_weight(2) == 1 && resources_cpu_weight(1024) == 100 &&
	       resources_cpu_weight(262144) == 10000 && resources_cpu_weight(UINT64_MAX) == 10000);
	for (uint64_t shares = 2; shares < 262144; shares++)
		EXPECT(resources_cpu_weight(shares) <= resources_cpu_weight(shares + 1));
}

static void test_numbers_are_found_by_their_whole_key(void)
{
	shell("printf 'low 1\\nhigh 22\\noom 3\\noom_kill 4\\noom_group_kill 5\\n' > cg/memory.events");
	int fd = open_scratch("cg");
	EXPECT(cgroup_oom_kills(fd) == 4 && cgroup_tree_number(fd, "memory.events", "oom") == 3 &&
	       cgroup_tree_number(fd, "memory.events", "kill") == 0 && cgroup_tree_number(fd, "missing", "x") == 0);
	close(fd);
}

static void test_stats_are_json_whatever_is_missing(void)
{
	char error[128];
	struct text json = {0};

	shell("rm -rf cg; mkdir cg; cd cg; printf 'usage_usec 5\\nuser_usec 3\\nsystem_usec 2\\n' > cpu.stat; echo 100 > memory.current;"
	      "echo max > memory.max; printf 'anon 7\\nfile 8\\ninactive_file 9\\nodd\"key 1\\nbad\\n' > memory.stat;"
	      "printf '254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\\nbad line\\n254:16 \\n' > io.stat; echo 5 > pids.current");
	int fd = open_scratch("cg");
	text_printf(&json, "{");
	cgroup_stats(fd, &json);
	text_printf(&json, ",");
	cgroup_machine_stats(&json);
	text_printf(&json, "}");
	struct json *v = json_parse(json.data, json.length, error);
	EXPECT(v != NULL);
	EXPECT(json_int(json_get(json_get(v, "cpu"), "usage_ns"), -1) == 5000);
	const struct json *memory = json_get(v, "memory");
	EXPECT(json_int(json_get(memory, "usage"), -1) == 100 && json_int(json_get(memory, "limit"), -1) == 0 &&
	       json_int(json_get(memory, "inactive_file"), -1) == 9 && json_length(json_get(memory, "fields")) == 4);
	EXPECT(json_length(json_get(v, "io")) == 2);
	EXPECT(json_int(json_get(json_at(json_get(v, "io"), 0), "wios"), -1) == 4);
	EXPECT(json_int(json_get(json_get(v, "pids"), "current"), -1) == 5);
	EXPECT(json_int(json_get(v, "memory_total"), 0) > 1 << 20 && json_int(json_get(v, "system_cpu_ns"), 0) > 0 &&
	       json_int(json_get(v, "cpus"), 0) > 0);
	json_free(v);
	text_free(&json);
	close(fd);
}

int main(void)
{
	scratch_make();
	RUN(test_limits_become_files);
	RUN(test_a_quota_alone_keeps_the_period_and_a_period_alone_the_quota);
	RUN(test_bad_limits_are_refused);
	RUN(test_shares_keep_their_order_as_weights);
	RUN(test_numbers_are_found_by_their_whole_key);
	RUN(test_stats_are_json_whatever_is_missing);
	scratch_remove();
	return expect_failures != 0;
}
