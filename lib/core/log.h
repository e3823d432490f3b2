/* Structured logs: one line per event on stderr, level, module, message, key=value pairs. Only programs' edges and
 * long-running loops log; libraries return errors. Loop thread only, but safe from lanes (one write(2) per line).
 * Format: `2026-11-21T21:00:00.123456Z info  store: opened revision=12 took_ms=3` or, with log_set_json(true), JSON. */
#ifndef MINI_CORE_LOG_H
#define MINI_CORE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_set_level(enum log_level level);
void log_set_json(bool json);
bool log_enabled(enum log_level level);
/* fmt is the message followed by key=value pairs written by the caller; values with spaces are quoted by the caller. */
void log_line(enum log_level level, const char *module, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define log_debug(module, ...) (log_enabled(LOG_DEBUG) ? log_line(LOG_DEBUG, module, __VA_ARGS__) : (void)0)
#define log_info(module, ...)  log_line(LOG_INFO, module, __VA_ARGS__)
#define log_warn(module, ...)  log_line(LOG_WARN, module, __VA_ARGS__)
#define log_error(module, ...) log_line(LOG_ERROR, module, __VA_ARGS__)

#endif
