import { type Logger, pino } from 'pino';
import type { Log, LogLevel } from '#protocol/env.ts';
import type { JsonObject } from '#protocol/json.ts';

/** One JSON line per event on stderr: stdout belongs to the command's own output. */
export function processLog(options: { level: LogLevel | 'silent'; fields: JsonObject }): Log {
  const logger = pino(
    {
      level: options.level,
      base: options.fields,
      redact: { paths: ['token', '*.token', '*.authorization'], censor: '[redacted]' },
    },
    pino.destination({ fd: 2, sync: true }),
  );
  return wrap(logger);
}

function wrap(logger: Logger): Log {
  return {
    debug: (event, fields) => logger.debug(fields ?? {}, event),
    info: (event, fields) => logger.info(fields ?? {}, event),
    warn: (event, fields) => logger.warn(fields ?? {}, event),
    error: (event, fields) => logger.error(fields ?? {}, event),
    child: (fields) => wrap(logger.child(fields)),
  };
}
