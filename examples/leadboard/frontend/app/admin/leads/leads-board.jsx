'use client'

import { useCallback, useEffect, useRef, useState } from 'react'
import { askApi, problemOf } from '../../../lib/api'
import ServedFrom from '../../served-from'
import AddLead from './add-lead'

const POLL_MS = 4000

const money = new Intl.NumberFormat('en-US', { style: 'currency', currency: 'USD', maximumFractionDigits: 0 })
const day = new Intl.DateTimeFormat('en-US', { month: 'short', day: 'numeric', timeZone: 'UTC' })

export default function LeadsBoard({ slug, initialBoard, initialProblem, initialDatabase, branch, worktree }) {
  const [board, setBoard] = useState(initialBoard)
  const [problem, setProblem] = useState(initialProblem)
  const [database, setDatabase] = useState(initialDatabase)
  const newestAsk = useRef(0)

  const refresh = useCallback(async () => {
    const ask = ++newestAsk.current
    const answer = await askApi(`/leads?tenant=${encodeURIComponent(slug)}`)
    if (ask !== newestAsk.current) return // an older answer must not overwrite a newer one
    if (answer.ok) setBoard(answer.body)
    setProblem(problemOf(answer))
  }, [slug])

  useEffect(() => {
    let timer
    let stopped = false
    const tick = async () => {
      await refresh()
      if (!stopped) timer = setTimeout(tick, POLL_MS)
    }
    timer = setTimeout(tick, initialBoard ? POLL_MS : 500)
    return () => {
      stopped = true
      clearTimeout(timer)
    }
  }, [refresh, initialBoard])

  useEffect(() => {
    if (database || !board) return
    askApi('/whoami').then((answer) => answer.ok && setDatabase(answer.body.database))
  }, [board, database])

  const leads = board?.leads ?? []
  const open = leads.filter(({ status }) => status !== 'won' && status !== 'lost')
  const won = leads.filter(({ status }) => status === 'won')
  const sum = (list) => money.format(list.reduce((total, { value }) => total + value, 0))

  return (
    <main className="shell">
      <header className="top">
        <a className="brand" href="/">Leadboard</a>
        <span className={`live ${problem ? 'off' : 'on'}`}>{problem ? 'Waiting for the API' : 'Live'}</span>
      </header>

      <div className="heading">
        <h1>{board?.tenant.name ?? slug}</h1>
        <ServedFrom branch={branch} worktree={worktree} database={database} />
      </div>

      {problem && (
        <div className="notice" role="status">
          <strong>{problem.title}</strong>
          <span>{problem.detail} This page keeps asking and fills itself in.</span>
        </div>
      )}

      <section className="stats" aria-label="Summary">
        <div className="card stat"><span>Leads</span><strong>{board ? leads.length : '–'}</strong></div>
        <div className="card stat"><span>Open pipeline</span><strong>{board ? sum(open) : '–'}</strong></div>
        <div className="card stat"><span>Won</span><strong>{board ? sum(won) : '–'}</strong></div>
      </section>

      <div className="columns">
        <section className="card board" aria-label="Leads">
          <table>
            <thead>
              <tr><th>Lead</th><th>Status</th><th className="num">Value</th><th className="num">Added</th></tr>
            </thead>
            <tbody>
              {leads.map((lead) => (
                <tr key={lead.id}>
                  <td>
                    <span className="who">
                      <span className="avatar" aria-hidden="true">{initials(lead.name)}</span>
                      <span><strong>{lead.name}</strong><small>{lead.company}</small></span>
                    </span>
                  </td>
                  <td><span className={`pill ${lead.status}`}>{lead.status}</span></td>
                  <td className="num">{money.format(lead.value)}</td>
                  <td className="num dim">{day.format(new Date(lead.created_at))}</td>
                </tr>
              ))}
              {leads.length === 0 && (
                <tr><td colSpan={4} className="empty">{board ? 'No leads yet. Add the first one.' : 'The leads appear here in a moment.'}</td></tr>
              )}
            </tbody>
          </table>
        </section>
        <AddLead slug={slug} onAdded={refresh} />
      </div>
    </main>
  )
}

function initials(name) {
  const words = name.trim().split(/\s+/)
  return [words[0], words.length > 1 ? words.at(-1) : ''].map((word) => [...word][0] ?? '').join('').toUpperCase()
}
