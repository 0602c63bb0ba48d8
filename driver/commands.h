// The sub-commands, one file each. Each adds itself to the command line and leaves its exit status in `status`.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

#include "driver/command.h"
#include "driver/console.h"

namespace nnc::driver {

/// What a chosen sub-command does once the line is parsed.
using Action = std::function<Exit(const Console&)>;

void add_check(CLI::App& app, Action& action);
void add_train(CLI::App& app, Action& action);
void add_eval(CLI::App& app, Action& action);
void add_predict(CLI::App& app, Action& action);
void add_build(CLI::App& app, Action& action);
void add_bench(CLI::App& app, Action& action);
void add_emit(CLI::App& app, Action& action);
void add_report(CLI::App& app, Action& action);
void add_derive(CLI::App& app, Action& action);
void add_opt(CLI::App& app, Action& action);
void add_gradcheck(CLI::App& app, Action& action);
void add_test(CLI::App& app, Action& action);
void add_explain(CLI::App& app, Action& action);
void add_fmt(CLI::App& app, Action& action);
void add_new(CLI::App& app, Action& action);
void add_inspect(CLI::App& app, Action& action);
void add_doctor(CLI::App& app, Action& action);
void add_completion(CLI::App& app, Action& action);

}  // namespace nnc::driver
