# SPDX-License-Identifier: MIT
# `nm -n` of the kernel's first link in, the assembly of its symbol table out (src/kernel/symbols.c reads it).
# Addresses stay texts: this awk may not have 64-bit numbers. Of the functions at one address the first
# is kept. No input makes an empty table.

BEGIN {
    count = 0 # a number, as a subscript too
}

function is_text(type) {
    return type == "T" || type == "t" || type == "W" || type == "w"
}

substr($1, 1, 8) == "ffffffff" && NF == 3 {
    low = substr($1, 9)
    if (is_text($2)) {
        end = ""
        if (low != last) {
            address[count] = low
            name[count++] = $3
            last = low
        }
    } else if (count > 0 && end == "" && low >= last) {
        end = low # the first thing behind the last function
    }
}

END {
    if (end == "")
        end = "ffffffff"
    print ".section .symtab_umbra, \"a\", @progbits"
    print ".globl symbol_count, symbol_end, symbol_addresses, symbol_name_offsets, symbol_names"
    print ".balign 4"
    print "symbol_count: .long " count + 0
    print "symbol_end: .long 0x" end
    print "symbol_addresses:"
    for (i = 0; i < count; i++)
        print ".long 0x" address[i]
    print "symbol_name_offsets:"
    offset = 0
    for (i = 0; i < count; i++) {
        print ".long " offset
        offset += length(name[i]) + 1
    }
    print "symbol_names:"
    for (i = 0; i < count; i++)
        print ".asciz \"" name[i] "\""
    print ".byte 0"
    print ".section .note.GNU-stack, \"\", @progbits"
}
