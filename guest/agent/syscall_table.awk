# SPDX-License-Identifier: Apache-2.0
# Makes syscall_table.c from the kernel's headers:
#   awk -f syscall_table.awk /usr/include/x86_64-linux-gnu/asm/unistd_64.h \
#       /usr/include/x86_64-linux-gnu/asm/unistd_32.h /usr/include/x86_64-linux-gnu/asm/unistd_x32.h > syscall_table.c
# Syscalls newer than those headers have the same number on every architecture since Linux 5.1; they are listed below.
FNR == 1 { file++ }
/^#define __NR_/ { sub(/^__NR_/, "", $2); number[file, $2] = $NF + 0; names[$2] = 1 }
END {
	newest = "cachestat fchmodat2 map_shadow_stack futex_wake futex_wait futex_requeue statmount listmount " \
		"lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal setxattrat getxattrat listxattrat " \
		"removexattrat open_tree_attr file_getattr file_setattr"
	count = split(newest, list, " ")
	for (i = 1; i <= count; i++) {
		names[list[i]] = 1
		for (f = 1; f <= 3; f++)
			if (!((f, list[i]) in number))
				number[f, list[i]] = 450 + i
	}
	print "// SPDX-License-Identifier: Apache-2.0"
	print "// Made by syscall_table.awk; do not edit."
	print "#include \"syscall_table.h\"\n"
	print "const struct syscall_entry syscall_table[] = {"
	sorter = "LC_ALL=C sort"
	for (name in names)
		printf "\t{\"%s\", {%d, %d, %d}},\n", name, value(1, name), value(2, name), value(3, name) | sorter
	close(sorter)
	print "};\n"
	print "const size_t syscall_table_length = sizeof syscall_table / sizeof syscall_table[0];"
}
function value(f, name) { return (f, name) in number ? number[f, name] : -1 }
