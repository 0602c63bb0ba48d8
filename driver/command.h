// The `nnc` command: sub-commands, their options, and how the command behaves towards terminals and scripts.
#pragma once

namespace nnc::driver {

/// Exit statuses: 0 done; 1 an error in the program or the data; 2 usage, or a file that cannot be read or written;
/// 3 training diverged; 101 a bug in nnc.
enum class Exit : int { done = 0, wrong = 1, usage = 2, diverged = 3, bug = 101 };

int run_command(int argc, char** argv);

}  // namespace nnc::driver
