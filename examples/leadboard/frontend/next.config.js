import path from 'node:path'

/** @type {import('next').NextConfig} */
export default {
  // The workspace root of this checkout. It is explicit so that a worktree nested in another checkout
  // (.claude/worktrees/x) never resolves its packages from the outer one.
  turbopack: { root: path.join(import.meta.dirname, '..') },
  devIndicators: false,
}
