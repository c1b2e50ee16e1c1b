#include "base/store_format.h"

#include <criterion/criterion.h>
#include <string.h>

Test(store_format, a_class_holds_what_it_is_chosen_for_and_wastes_little)
{
    for (uint64_t bytes = 1; bytes <= STORE_RECORD_MAX_BYTES; bytes += 509) {
        uint8_t size_class = store_size_class(bytes);
        uint64_t holds = store_class_bytes(size_class);
        cr_assert_geq(holds, bytes);
        cr_assert_eq(holds % STORE_UNIT_BYTES, 0);
        cr_assert_leq(holds, bytes + bytes / 4 + STORE_UNIT_BYTES);
        cr_assert(size_class == 0 || store_class_bytes((uint8_t)(size_class - 1)) < bytes, "a smaller one would do");
    }
}

Test(store_format, the_largest_record_has_a_class_of_six_bits)
{
    cr_assert_lt(store_size_class(STORE_RECORD_MAX_BYTES), 64);
}

Test(store_format, a_header_is_valid_until_any_bit_of_it_is_flipped)
{
    struct store_header header = {.kind = STORE_RESPONSE, .segment_sequence = 7, .hash = 1, .front_bytes = 200, .body_bytes = 1000};
    store_header_seal(&header);
    cr_assert(store_header_is_valid(&header));
    for (size_t bit = 0; bit < 8 * sizeof header; bit++) {
        struct store_header flipped;
        memcpy(&flipped, &header, sizeof header);
        ((unsigned char *)&flipped)[bit / 8] ^= (unsigned char)(1 << bit % 8);
        cr_assert_not(store_header_is_valid(&flipped), "bit %zu", bit);
    }
}

Test(store_format, a_header_of_an_unknown_kind_or_an_impossible_length_is_not_valid)
{
    struct store_header header = {.kind = STORE_KIND_COUNT};
    store_header_seal(&header);
    cr_assert_not(store_header_is_valid(&header));
    header = (struct store_header){.kind = STORE_NONE};
    store_header_seal(&header);
    cr_assert_not(store_header_is_valid(&header));
    header = (struct store_header){.kind = STORE_RESPONSE, .front_bytes = 100, .body_bytes = STORE_RECORD_MAX_BYTES};
    store_header_seal(&header);
    cr_assert_not(store_header_is_valid(&header));
}

Test(store_format, records_are_padded_to_units)
{
    cr_assert_eq(store_record_bytes(1, 0), STORE_UNIT_BYTES);
    cr_assert_eq(store_record_bytes(STORE_UNIT_BYTES - sizeof(struct store_header), 0), STORE_UNIT_BYTES);
    cr_assert_eq(store_record_bytes(STORE_UNIT_BYTES - sizeof(struct store_header), 1), 2 * STORE_UNIT_BYTES);
}
