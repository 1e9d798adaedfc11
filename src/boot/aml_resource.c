/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/aml_resource.h"

#include "guestmem/le.h"

void aml_io(struct aml *a, uint16_t base, uint8_t len)
{
	const struct {
		uint8_t tag, decode;
		le16 min, max;
		uint8_t align, len;
	} __attribute__((packed)) d = { 0x47, 1, le16_of(base), le16_of(base), 1, len };

	aml_bytes(a, &d, sizeof d);
}

void aml_interrupt(struct aml *a, uint32_t gsi)
{
	enum { CONSUMER = 0x01, EDGE = 0x02 };
	const struct {
		uint8_t tag;
		le16 len;
		uint8_t flags, count;
		le32 gsi;
	} __attribute__((packed)) d = { 0x89, le16_of(6), CONSUMER | EDGE, 1, le32_of(gsi) };

	aml_bytes(a, &d, sizeof d);
}

/* Address space descriptors (§6.4.3.5) differ in the width of their numbers. */
enum { TYPE_MEMORY = 0, TYPE_BUS = 2 };
enum { FLAG_CONSUMER = 0x01, FLAG_MIN_FIXED = 0x04, FLAG_MAX_FIXED = 0x08, FLAGS_FIXED = 0x0c };
enum { MEMORY_WRITABLE = 0x01 }; /* and not cacheable */

#define DEFINE_WINDOW(bits, tag_)                                                                                      \
	static void window##bits(struct aml *a, uint8_t type, uint8_t flags, uint8_t type_flags, uint##bits##_t min,   \
				 uint##bits##_t max)                                                                   \
	{                                                                                                              \
		const struct {                                                                                         \
			uint8_t tag;                                                                                   \
			le16 len;                                                                                      \
			uint8_t type, flags, type_flags;                                                               \
			le##bits granularity, min, max, translation, size;                                             \
		} __attribute__((packed)) d = {                                                                        \
			.tag = (tag_),                                                                                 \
			.len = le16_of(sizeof d - 3),                                                                  \
			.type = type,                                                                                  \
			.flags = flags,                                                                                \
			.type_flags = type_flags,                                                                      \
			.min = le##bits##_of(min),                                                                     \
			.max = le##bits##_of(max),                                                                     \
			.size = le##bits##_of((uint##bits##_t)(max - min + 1)),                                        \
		};                                                                                                     \
                                                                                                                       \
		aml_bytes(a, &d, sizeof d);                                                                            \
	}

DEFINE_WINDOW(16, 0x88)
DEFINE_WINDOW(32, 0x87)
DEFINE_WINDOW(64, 0x8a)

void aml_memory(struct aml *a, uint64_t base, uint64_t len)
{
	const struct {
		uint8_t tag;
		le16 length;
		uint8_t writable;
		le32 base, len;
	} __attribute__((packed)) d = { 0x86, le16_of(9), 1, le32_of((uint32_t)base), le32_of((uint32_t)len) };

	if (base > UINT32_MAX || len > UINT32_MAX)
		window64(a, TYPE_MEMORY, FLAG_CONSUMER | FLAGS_FIXED, MEMORY_WRITABLE, base, base + len - 1);
	else
		aml_bytes(a, &d, sizeof d);
}

void aml_bus_window(struct aml *a, uint8_t first, uint8_t last)
{
	window16(a, TYPE_BUS, FLAGS_FIXED, 0, first, last);
}

void aml_memory_window32(struct aml *a, uint32_t base, uint32_t end)
{
	window32(a, TYPE_MEMORY, FLAGS_FIXED, MEMORY_WRITABLE, base, end - 1);
}

void aml_memory_window64(struct aml *a, uint64_t base, uint64_t end)
{
	window64(a, TYPE_MEMORY, FLAGS_FIXED, MEMORY_WRITABLE, base, end - 1);
}
