//! Translates the keys of a terminal. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::state::TopKey;

/// Returns the key of the view for `key`. `None` if the view does not use it.
pub(super) fn understand(key: KeyEvent) -> Option<TopKey> {
    let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if with_control => TopKey::Interrupt,
        KeyCode::Char('z') if with_control => TopKey::Suspend,
        KeyCode::Char(_) if with_control || key.modifiers.contains(KeyModifiers::ALT) => return None,
        KeyCode::Char(c) => TopKey::Char(c),
        KeyCode::Up => TopKey::Up,
        KeyCode::Down => TopKey::Down,
        KeyCode::PageUp => TopKey::PageUp,
        KeyCode::PageDown => TopKey::PageDown,
        KeyCode::Home => TopKey::First,
        KeyCode::End => TopKey::Last,
        KeyCode::Enter => TopKey::Enter,
        KeyCode::Esc => TopKey::Escape,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_keys_are_no_letters() {
        let key = |c, modifiers| understand(KeyEvent::new(KeyCode::Char(c), modifiers));
        assert_eq!(key('s', KeyModifiers::NONE), Some(TopKey::Char('s')));
        assert_eq!(key('G', KeyModifiers::SHIFT), Some(TopKey::Char('G')));
        assert_eq!(key('s', KeyModifiers::CONTROL), None);
        assert_eq!(key('c', KeyModifiers::CONTROL), Some(TopKey::Interrupt));
    }
}
