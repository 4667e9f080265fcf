'use client'

import { useState } from 'react'
import { askApi, problemOf } from '../../../lib/api'

export default function AddLead({ slug, onAdded }) {
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState(null)

  async function submit(event) {
    event.preventDefault()
    const form = event.currentTarget
    const fields = new FormData(form)
    setBusy(true)
    const answer = await askApi('/leads', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        tenant: slug,
        name: fields.get('name'),
        company: fields.get('company'),
        value: Number(fields.get('value') || 0),
      }),
    })
    setError(answer.ok ? null : problemOf(answer).title)
    if (answer.ok) {
      form.reset()
      await onAdded()
    }
    setBusy(false)
  }

  return (
    <form className="card add" onSubmit={submit}>
      <h2>Add a lead</h2>
      <label>Name<input name="name" required maxLength={120} autoComplete="off" placeholder="Ada Lovelace" /></label>
      <label>Company<input name="company" required maxLength={120} autoComplete="off" placeholder="Analytical Engines" /></label>
      <label>Value, USD<input name="value" type="number" min={0} max={100000000} step={1} placeholder="12000" /></label>
      <button disabled={busy}>{busy ? 'Adding…' : 'Add lead'}</button>
      {error && <p className="error" role="alert">{error}</p>}
    </form>
  )
}
