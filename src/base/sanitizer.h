/* SPDX-License-Identifier: Apache-2.0 */
/* Whether this is a build with AddressSanitizer, which needs /proc, much address space, and keeps what was freed. */
#pragma once

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif
