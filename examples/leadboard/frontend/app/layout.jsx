import './globals.css'

export const metadata = {
  title: 'Leadboard',
  description: 'A small multi-tenant lead board',
}

export const viewport = { colorScheme: 'light dark' }

export default function RootLayout({ children }) {
  return (
    <html lang="en">
      <body>{children}</body>
    </html>
  )
}
