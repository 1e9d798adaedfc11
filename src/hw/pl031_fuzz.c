/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile driver of the clock: steps of 8 bytes, each an access of any width, a turn of the loop, or a move. */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "hw/pl031.h"
#include "state/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* To another machine, as snapshots do it. */
static void move(struct loop *loop, int irq, struct pl031 **rtc)
{
	struct state *s;
	struct pl031 *to;

	if (state_new(&s) < 0 || pl031_new(loop, irq, &to) < 0)
		abort();
	pl031_save(*rtc, s);
	if (pl031_load(to, s, NULL) < 0)
		abort();
	pl031_free(*rtc);
	state_free(s);
	*rtc = to;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct pl031 *rtc;
	struct loop *loop;
	int irq = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	if (irq < 0 || loop_new(&loop, NULL) < 0 || pl031_new(loop, irq, &rtc) < 0)
		abort();
	for (; size >= 8; data += 8, size -= 8) {
		uint32_t len = 1u << (data[0] & 3), at = data[1] | (data[2] & 15u) << 8;
		uint8_t value[8] = { 0 };

		if (at > PL031_SIZE - len)
			at = PL031_SIZE - len;
		memcpy(value, data + 4, 4);
		switch (data[0] >> 2 & 3) {
		case 0:
			pl031_bus.read(rtc, at, value, len);
			break;
		case 1:
			pl031_bus.write(rtc, at, value, len);
			break;
		case 2:
			if (loop_run_once(loop, 0) < 0)
				abort();
			break;
		default:
			move(loop, irq, &rtc);
		}
	}
	pl031_free(rtc);
	loop_free(loop);
	close(irq);
	return 0;
}
