// One address for the server and the browser. Next compiles it into the browser's code. It uses plain
// `localhost`, because Node cannot resolve `*.localhost`, while a browser can reach both.
export const API_URL = (process.env.NEXT_PUBLIC_API_URL || 'http://localhost:8100').replace(/\/+$/, '')

/** How long the server waits for an API that is still starting before it shows an error. */
export const STARTUP_WAIT_MS = 5000

const ATTEMPT_MS = 4000
const PAUSE_MS = 250

/**
 * Asks the API. Never throws: without an answer, `status` is 0.
 * With `waitMs`, repeats the request until the API answers or that time has passed.
 */
export async function askApi(path, { waitMs = 0, ...init } = {}) {
  const until = Date.now() + waitMs
  for (;;) {
    try {
      const response = await fetch(API_URL + path, {
        cache: 'no-store',
        ...init,
        signal: AbortSignal.timeout(waitMs ? Math.max(until - Date.now(), PAUSE_MS) : ATTEMPT_MS),
      })
      const body = await response.json().catch(() => null)
      return { ok: response.ok && body !== null, status: response.status, body }
    } catch {
      if (Date.now() + PAUSE_MS >= until) return { ok: false, status: 0, body: null }
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
    }
  }
}

/** Describes a failed answer for the user. */
export function problemOf(answer) {
  if (answer.ok) return null
  if (answer.status === 0) {
    return { title: 'The API is not answering yet', detail: `Nobody answered at ${API_URL}.` }
  }
  if (answer.status === 503) {
    return { title: 'The API is up, but its database is not', detail: `${answer.body?.detail ?? 'It gave no reason'}.` }
  }
  return { title: `The API answered ${answer.status}`, detail: 'Its log says more.' }
}
