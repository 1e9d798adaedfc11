/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mount(2) takes one page of options, and an overlay of many layers has more. Layers lie side by side, so their names
 * become relative to the folder that holds them all, in which the mount is then made (as containerd does).
 */
#pragma once

#include "base/strv.h"

/*
 * lower: the value of lowerdir=, absolute names with ':' between ("\:" inside one). *ret_dir: the folder to be in;
 * *ret_lower: the names from there. -EINVAL: they have none but "/" in common; -ENOMEM. Both are the caller's.
 */
int overlay_shorten(const char *lower, char **ret_dir, char **ret_lower);
