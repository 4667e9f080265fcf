#!/usr/bin/env node
// Starts the devrun binary of this platform's package, in place of this process where Node can do that.
'use strict'

const { spawn } = require('node:child_process')
const { constants } = require('node:os')

const name = require('./package.json').name

function usesGlibc() {
  return Boolean(process.report?.getReport?.().header?.glibcVersionRuntime)
}

function binary() {
  const { platform, arch } = process
  const plain = `${name}-${platform}-${arch}`
  // A system with musl can have both packages, if the package manager does not know `libc`.
  const candidates = platform === 'linux' ? (usesGlibc() ? [plain, `${plain}-musl`] : [`${plain}-musl`]) : [plain]
  for (const candidate of candidates) {
    try {
      return require.resolve(`${candidate}/devrun`)
    } catch {}
  }
  console.error(
    `devrun: the package ${candidates[0]} is not installed.\n` +
      `Either devrun has no build for ${platform} on ${arch}, or optional dependencies were left out ` +
      '(--no-optional, --omit=optional): install again with them.',
  )
  process.exit(1)
}

const program = binary()
const args = process.argv.slice(2)

if (typeof process.execve === 'function') {
  // Signals, the terminal and the parent's wait then reach devrun itself. The call returns only if it fails.
  process.execve(program, [program, ...args], process.env)
}

const child = spawn(program, args, { stdio: 'inherit' })
// The terminal sends Ctrl-C and a hang-up to devrun too. This process must outlive it to return its exit status.
for (const signal of ['SIGINT', 'SIGQUIT', 'SIGHUP']) process.on(signal, () => {})
process.on('SIGTERM', () => child.kill('SIGTERM'))
child.on('error', error => {
  console.error(`devrun: cannot start ${program}: ${error.message}`)
  process.exit(1)
})
child.on('exit', (code, signal) => process.exit(code ?? 128 + constants.signals[signal]))
